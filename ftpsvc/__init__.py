"""ftpsvc: a file-transfer service that nobody loses a file with.

The map, in reading order:

`model`       entries, accounts, permissions, paths inside a root, the domain's errors
`rules`       permissions by path
`frames`      lines, counted raw bytes, frames, digests, facts
`wire`        commands and replies, and the one table of errors and reply codes
`listing`     entries as listing lines
`storage`     what a storage is; `channel`, what a way of the data is
`records`     what becomes of sessions and transfers: a record for each
`recording`   records on their way to the log; `counts`, what was done, in plain numbers
`session`     one client's session, verbs as data, and `admit`, the gate; `states`, what it can be in
`verbs`       what each command does
`threads`     work that may wait for a disk
`linethenraw` the base of both protocols; `bulktls`, TLS beneath it
`lookahead`   seeing an ABOR before its turn
`inline`      the way of the data that needs no second connection, with `pump` and `digests` for large files
`stream`      the way that does: `datasetup` prepares it, with `addresses`; `way`, `passive` and `active` are how it
              comes about, `dataconnection` its bytes, `tunnel` those of TLS, `newlines` those of text
`checksums`   what HASH computes; `patterns`, what LIST matches; `sweeping`, what becomes of old parts
`tls`         TLS on the server's side, with `certificates`; `securing` is what the start needs of it
`limits`      what a client may take of the server: all values
`commons`     what is counted and remembered of all sessions, and where
`connections` who is connected, and how many may be; `refusals`, who is turned away
`logins`      how often and how fast one may fail; `bans`, the addresses that have failed too often
`rates`       how fast data may move; `passiveports`, how many ports may wait
`watchdog`    how long a session may keep the server waiting; `closing`, how the last get in when it stops, and
              `draining`, how all of them end then
`server`      the server's protocol; `outbox`, replies in order; `factory`, what all sessions share
`logfiles`    where the log goes; `jsonlog`, it as JSON lines; `xferlog`, the one of old
`hooks`       commands that are run for records; `gate`, one that uploads have to pass; `programs`, what runs them
`companions`  what goes along with the service
`monitor`     what is told of the server by HTTP: `metrics`, `lateness` of the reactor, `probing` of the storage
`localdisk`   the default storage, with `oserrors`, `jail`, `diskentries`, `locks`, `parts`, `unnamed`, `commits`,
              `diskfiles`, `writing` and `steadyfiles`
`objects`     object storage as a storage, by obstore: a package, with its own map
`proxied`     where a connection comes from, also behind a proxy
`tomllines`   TOML files that people write, with the line of each key; `wholefile`, how such files are read,
              and replaced by one process at a time
`accountfile` the accounts' file, with `passwords` as hashes; `checkers`, Twisted's ways to check one
`around`      a storage before another
`quota`       a storage that grows so far and no further, with `usage`; `homes`, the storages behind the accounts
`accounts`    who may log in
`options`     what follows `twistd ftpsvc`; `admission`, what that comes to for logins; `service`, what it makes
`allocator`   how the service deals with memory; `premises`, what each process that serves has
`reloading`   what a running service takes over; `signals`, `notify`, how it is told, and tells, how it is
`workers`     several processes that serve, and `worker`, one of them; `sharing`, what they count together in a
              `sharedtable`; `turnstile`, who of them lets in whom; `workerlink` and `workerlog`, what they say, by a
              `readymade` protocol; `allworkers`, how operators see them
`everywhere`  what holds over all nodes, in Redis: a package, with its own map
`configuration` the options in a file
`livelist`    who is connected and does what; `throughput`, how much is moved; `blocklist`, whom an operator has banned;
              `diskspace`, how much room there is; all of it in `overview`
`control`     what an operator may ask of a server that runs; `controlsocket`, how; `ctlcommand`, `ftpsvc ctl`, with
              `ctltables`
`livepage`    the same for a browser, with `plot`, and `operatortoken`, by which an operator ends sessions there
`usercommand` `ftpsvc user`; `initcommand`, `ftpsvc init`
`client`      the client's protocol, with `exchanges`, what is said in it
`clienttls`   TLS on the client's side: whom to trust, and `knownservers`, who was trusted before
`inlineclient` files and listings in MODE I; `streamclient`, with `streamtransfer` and `listparser`, without it
`remote`      the far side seen as a storage; `strangers`, who it is that doesn't greet
`digestclient` digests of what stays at the server
`collector`   how seldom Python looks for garbage; `traces`, errors that let go of what they came through
`copying`     a file from one storage to another; `parallel`, many at once; `resuming`, from where an earlier try ended
`filters`     which names a tree is about; `steps`, `rolls`, `trees`, how two trees are compared; `plans`, what is to do
`lines`       a way that may break; `mirroring`, one tree made like another, with `targetfacts`, its times and modes;
              `removing`, `reports`, its end
`connecting`  with whom, with how much TLS, and as whom; `credentials` and `netrc`, where passwords come from
`words`       a typed line; `targets`, the servers that people mean; `display`, how things look
`healing`     a connection that is made again; `crew`, several of them; `journal`, what is unfinished
`progress`    how far a transfer is; `views` shows it, `pacing` holds it to a rate
`places`      here and there; `walking`, all folders of one tree
`transfers`   a file carried between the two; `preflight` and `clashes`, what is looked at and asked before; `pouring`,
              one that goes to a pipe
`treeoptions` the options of `mirror`; `treejobs`, a tree carried for somebody
`console`     commands that take time; `jobs`, those under way; `output`, what is said to a pipe, or a full disk
`commands`    what can be typed, in groups; `settings` and `addressbook`, what is remembered for them
`shell`       the interactive client; `oneshot`, the same commands for scripts, with `oneshotoptions`, their words, and
            `outcomes`, their exit codes
`assembly`    what both are put together from; `xdg`, where the user's own files are
`terminal`    a person at the shell; `piped`, lines from a pipe; `otherprograms`, what gets the terminal in between
`underasyncio` the reactor on somebody else's asyncio loop
`doctor`      an examination in steps; `checks`, `ftpsvc doctor`'s, with `patient`, `reachchecks`, `servicechecks` and
              `doctorcommand`
`program`     the command `ftpsvc`: which of its programs is meant
`descriptors` the three that a program may have been started without

docs/architecture.md tells how they work together.
"""

__version__ = "0.1.0"
