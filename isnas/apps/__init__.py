"""What a command line starts: a module with ``main(argv)`` for each command of ``isnas``, listed in ``console``."""
