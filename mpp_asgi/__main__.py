"""``python -m mpp_asgi``, where ``mpp-asgi`` is not on the path."""

import sys

from mpp_asgi.cli import main

sys.exit(main())
