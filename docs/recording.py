"""Makes docs/shell.svg: the shell as it is seen on a terminal, recorded from a real one (tmux), with a real server.

Run it in a checkout with tmux installed: python docs/recording.py. What is typed stands in `record`.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS, ROWS = 84, 22

#: The size of a letter, in pixels, and the space around the text.
WIDTH, HEIGHT, MARGIN = 8.4, 18, 14

#: What is left of the sixteen colours and of reverse: one theme for all.
PAPER, INK, FAINT, BAR = "#16181d", "#d6d9df", "#8b93a3", "#2b303b"
INKS = {31: "#f2777a", 32: "#8fd18b", 33: "#e9c46a", 34: "#7fb4ff", 35: "#d6a2e8", 36: "#6fd3d3", 90: FAINT}


class Recorder:
    """A terminal of tmux's own, and the frames that were taken of it."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")
        self.frames: list[tuple[str, float]] = []

    def tmux(self, *words: str) -> str:
        command = ["tmux", "-S", self._socket, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def begin(self, command: str, folder: Path) -> None:
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), command)
        self.tmux("set", "-g", "status", "off")

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def shot(self, seconds: float) -> None:
        """Take a frame that is to be seen for so long."""
        screen = self.tmux("capture-pane", "-e", "-p")
        if self.frames and self.frames[-1][0] == screen:
            seconds += self.frames.pop()[1]
        self.frames.append((screen, seconds))

    def type(self, text: str, seconds: float = 0.5) -> None:
        """Type a line, three letters a frame, and let it be seen before it is sent off."""
        for at in range(0, len(text), 3):
            self.tmux("send-keys", "-l", "--", text[at : at + 3])
            time.sleep(0.15)
            self.shot(0.12)
        self.shot(seconds)

    def send(self, text: str, wanted: str = "", seconds: float = 1.5) -> None:
        """Type a line, send it off, and show what came of it."""
        self.type(text)
        self.press("Enter")
        self.wait(wanted)
        self.shot(seconds)

    def wait(self, wanted: str, limit: float = 40) -> None:
        """Wait until something stands on the screen."""
        end = time.monotonic() + limit
        time.sleep(0.6)
        while not re.search(wanted, self.tmux("capture-pane", "-p")):
            if time.monotonic() > end:
                raise SystemExit(f"{wanted!r} was waited for, and there was:\n{self.tmux('capture-pane', '-p')}")
            time.sleep(0.1)

    def watch(self, seconds: float, step: float = 0.5) -> None:
        """Take frames while something moves."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.shot(step)
            time.sleep(step)


def record(recorder: Recorder, kill: Callable[[], None], serve: Callable[[], None]) -> None:
    """What is to be seen: looking, completing, a large file in the background, a server that goes away meanwhile."""
    recorder.press("C-l")
    time.sleep(0.5)
    recorder.shot(0.8)
    recorder.send("ls pub", "2 files")
    recorder.type("get pub/summer\\ photos/ha")
    recorder.press("Tab")
    time.sleep(1)
    recorder.shot(1)
    recorder.press("Enter")
    recorder.wait("digest checked")
    recorder.shot(1.5)
    recorder.send("get pub/dics.iso", "Close:")
    recorder.send("set limit-rate 8M", "how much all", 0.6)
    recorder.type("get pub/disc.iso")
    recorder.press("Enter")
    recorder.wait(r"\[#")
    recorder.watch(1.5)
    recorder.press("C-z")
    recorder.wait(r"\[1\] get pub")
    recorder.watch(1)
    recorder.type("put rep")
    kill()
    recorder.wait("Trying again")
    recorder.watch(1.5)
    serve()
    recorder.wait("left")
    recorder.watch(1)
    recorder.type("ort.pdf")
    recorder.press("Enter")
    recorder.wait("stored report")
    recorder.watch(1)
    recorder.wait(r"\[1\] done")
    recorder.shot(5)


# -- from a screen to SVG ------------------------------------------------------------------------------------


def spans(line: str) -> str:
    """A line of a screen, with its colours (ECMA-48, SGR) as those of SVG."""
    out, style = "", {"fill": INK}
    for text in re.split(r"(\x1b\[[0-9;]*m)", line):
        if text.startswith("\x1b["):
            style = restyled(style, [int(code or 0) for code in text[2:-1].split(";")])
        elif text:
            if style.get("back") and text.strip():
                out += f'<tspan class="b">{html.escape(text)}</tspan>'
            else:
                words = "".join(f' {key}="{value}"' for key, value in style.items() if key != "back" and value != INK)
                out += f"<tspan{words}>{html.escape(text)}</tspan>" if words else html.escape(text)
    return out


def restyled(style: dict[str, str], codes: list[int]) -> dict[str, str]:
    style = dict(style)
    rest = iter(codes)
    for code in rest:
        if code == 0:
            style = {"fill": INK}
        elif code == 1:
            style["font-weight"] = "bold"
        elif code in (38, 48):
            if next(rest, 0) == 5:
                next(rest, 0)
            else:
                _ = [next(rest, 0) for _ in range(3)]
            style["fill" if code == 38 else "back"] = FAINT
        elif code in INKS or code - 60 in INKS:
            style["fill"] = INKS.get(code) or INKS[code - 60]
        elif code == 39:
            style["fill"] = INK
        elif code == 7 or 40 <= code <= 47 or 100 <= code <= 107:
            style["back"] = BAR
        elif code in (27, 49):
            style.pop("back", None)
    return style


def drawn(frames: list[tuple[str, float]]) -> str:
    """The frames as one animated picture; what can't move shows the last one."""
    whole = sum(seconds for _, seconds in frames)
    width, height = COLUMNS * WIDTH + 2 * MARGIN, ROWS * HEIGHT + 2 * MARGIN
    rules, groups, at = [], [], 0.0
    for number, (screen, seconds) in enumerate(frames):
        begin, end = 100 * at / whole, 100 * (at + seconds) / whole
        at += seconds
        rules.append(
            f"@keyframes k{number}{{0%{{opacity:0}}{begin:.3f}%{{opacity:1}}{end:.3f}%{{opacity:0}}100%{{opacity:0}}}}"
            f"#f{number}{{animation:k{number} {whole:.1f}s step-end infinite}}"
        )
        hidden = "" if number == len(frames) - 1 else ' opacity="0"'
        lines = "".join(
            f'<text x="{MARGIN}" y="{MARGIN + HEIGHT * row + 13}">{spans(line.rstrip())}</text>'
            for row, line in enumerate(screen.rstrip("\n").split("\n"))
            if re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
        )
        groups.append(f'<g id="f{number}"{hidden}>{lines}</g>')
    font = "font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace"
    style = f"text{{{font};font-size:14px;fill:{INK};white-space:pre}}.b{{fill:#ffffff;font-weight:bold}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" xml:space="preserve" '
        f'width="{width:.0f}"><title>The shell of ftpsvc</title><style>{style}{"".join(rules)}</style>'
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>{"".join(groups)}</svg>\n'
    )


# -- the stage -----------------------------------------------------------------------------------------------


def main() -> None:
    if shutil.which("tmux") is None:
        raise SystemExit("tmux is not installed: apt-get install tmux")
    with tempfile.TemporaryDirectory(prefix="ftpsvc-recording-") as name:
        folder = Path(name)
        pub, here = folder / "root" / "pub", folder / "papers"
        (pub / "summer photos").mkdir(parents=True)
        here.mkdir()
        for path, size, when in (
            (pub / "disc.iso", 60_000_000, 1793396820),
            (pub / "README.txt", 940, 1793643600),
            (pub / "summer photos" / "beach.jpg", 2_300_000, 1786701720),
            (pub / "summer photos" / "harbour at night.jpg", 3_100_000, 1786701720),
            (here / "report.pdf", 1_830_000, 1793643600),
        ):
            path.write_bytes(os.urandom(size))
            os.utime(path, (when, when))
        python = f"PYTHONPATH={HERE.parent} {sys.executable}"
        twistd = "from twisted.scripts.twistd import run; run()"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = f"-n --pidfile= --logfile={name}/log ftpsvc --port {port} --root {name}/root --state {name}/state"
        server: list[subprocess.Popen[bytes]] = []

        def serve() -> None:
            server.append(subprocess.Popen(["sh", "-c", f"{python} -c '{twistd}' {options}"], start_new_session=True))

        def kill() -> None:
            os.killpg(server[-1].pid, signal.SIGKILL)
            server[-1].wait()

        recorder = Recorder(folder)
        serve()
        try:
            time.sleep(4)
            shell = f"XDG_STATE_HOME={folder} XDG_CONFIG_HOME={folder} TERM=xterm-256color {python} -c "
            program = "import sys; from ftpsvc.program import main; sys.exit(main())"
            recorder.begin(f"{shell}'{program}' 127.0.0.1 {port}", here)
            recorder.wait("127.0.0.1:/>")
            record(recorder, kill, serve)
        finally:
            subprocess.run(["tmux", "-S", str(folder / "tmux"), "kill-server"], check=False)
            kill()
    (HERE / "shell.svg").write_text(drawn(recorder.frames))


if __name__ == "__main__":
    main()
