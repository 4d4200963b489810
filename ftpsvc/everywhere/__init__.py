"""What holds over all nodes: bans, sessions at once, quotas, kept in Redis or Valkey (`--shared`).

`address`   which Redis, and who may see the password
`resp`      one connection to it: commands out, answers and news in
`link`      that connection kept up, and what is said while there is none
`scripts`   what Redis does in one step each
`counting`  how many there are, here and elsewhere
`banning`   failed logins, and whom an operator has banned
`claims`    what lies in the homes that have a quota
`joining`   all of it together, for one process; `entry`, whether it is wanted

How it is done:

- **The reactor never waits.** What is decided where a session waits anyway is asked of Redis, which decides in one step
  for all nodes: a login against the sessions of its account, a failed login against the others from its address, what
  an upload takes of a quota. What has to be decided at once, at the greeting, goes by a mirror: what the other nodes
  have told of their connections and bans. They tell it by publish and subscribe, gathered for some milliseconds. So
  two nodes that greet in the same moment may each let in the last one; two logins never are.
- **Counts belong to a run**, which is one process's life. It has a key of its own in Redis with what it has counted,
  always told as what it comes to and never as a difference, so that what is told twice, or late, does no harm. Each
  run says every `joining.BEAT` seconds that it is there. Who has not for `joining.EXPIRE` seconds, is forgotten by
  whoever notices, in one step with all that it had counted; and if it was only asleep, it tells all of it again.
- **Without Redis a node goes on with what it knows**: its own counts and the mirror as it was. That is said once, and
  shown; the connection is tried again with growing delays. Afterwards each tells what it has: counts as they are, what
  failed meanwhile, what an operator has said meanwhile. Every change of bans has a number; if Redis knows a lower one
  than a node, it has lost something, and is told it again.
- **Each process has a connection of its own**, with `--workers` too. A run's name begins with its node's, so a worker
  knows which counts it has in memory already.
"""
