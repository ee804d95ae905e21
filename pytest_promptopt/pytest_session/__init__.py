"""One pytest session with prompt cases: its plugin, its optimization, its summary, its workers."""
