"""What Python calls: ``isnas.search(...)`` and all else of docs/api.md, which :mod:`isnas` names."""
