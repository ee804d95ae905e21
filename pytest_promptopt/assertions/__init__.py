"""Why a test failed, read from its source and its objects: which comparison, which sides."""
