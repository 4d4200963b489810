"""What can be typed, a module for each kind of command: mixins of the shell, and of the one-shot commands.

Each command is a coroutine `do_…` that takes its words, with its help as its docstring: usage, a line, more, and an
example; `complete_…` offers what may stand in a place. A command takes `self._job`, and with it its
server, before its first `await`, because behind that it may be in the background, and another be the current one.
"""
