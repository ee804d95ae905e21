"""asyncio as it was before a test could exchange a part of it (``mock.patch("asyncio.sleep")``).

Our waits are our own: a mock of a test's must neither end them at once nor count them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio as asyncio
else:
    import asyncio as _asyncio
    from types import SimpleNamespace

    asyncio = SimpleNamespace(**vars(_asyncio))
