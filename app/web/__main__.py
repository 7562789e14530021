"""`python -m app.web`: gunicorn, started so that empty variables count as not set.

gunicorn reads `PORT` and `WEB_CONCURRENCY` itself while it is imported, before its configuration
file, and does not start where one of them is empty, as `docker --env-file` and `.env.example` leave
them. The arguments are gunicorn's.
"""

import os
import runpy

for name in ("PORT", "WEB_CONCURRENCY"):
    if not os.environ.get(name, "").strip():
        os.environ.pop(name, None)

runpy.run_module("gunicorn", run_name="__main__", alter_sys=True)
