"""The gate before publishing: an image is started from its own bytes, and asked, before anybody may have it.

`requests.py` says what is asked and what is right, `answers.py` reads answers, `quality.py` and
`performance.py` hold results against bounds, all without a container; `session.py` asks a server in one,
`gate.py` makes a step of it.
"""
