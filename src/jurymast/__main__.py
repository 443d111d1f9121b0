"""``python -m jurymast``."""

from jurymast.faces.cli.main import main

main()
