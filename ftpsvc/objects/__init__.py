"""Object storage as a `Storage`: buckets of S3, Google Cloud and Azure, by obstore.

`urls`      what s3://bucket/prefix means; `options`, what goes with it
`metadata`  modify time, mode and digest as an object's metadata
`engine`    what is asked of an object storage, in calls that wait
`obstored`  those calls by obstore; `signing`, `requests` and `s3`, those that obstore doesn't have
`calls`     the calls beside the reactor, each with a deadline
`reading`, `writing`  files that are open
`folders`   which folders there are, remembered for some seconds
`listed`    what a listing shows, with times that are exact
`bucket`    what all who use a bucket share; `storage`, one home in it

Only `opening` is needed without obstore: it says what is missing.
"""
