"""Errors: one tree, drawn where it is defined."""

from __future__ import annotations

import inspect

from jurymast.domain import errors


def drawn_tree() -> dict[str, tuple[str | None, str]]:
    """Each error in the drawing with its parent and the words beside it."""
    tree: dict[str, tuple[str | None, str]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.split()[0] if line.startswith("    ") and line.strip() else ""
        if not hasattr(errors, name):
            continue
        depth = len(line) - len(line.lstrip())
        above = [(at, parent) for at, parent in above if at < depth]
        tree[name] = (above[-1][1] if above else None, line.strip().removeprefix(name).strip())
        above.append((depth, name))
    return tree


def test_the_drawn_tree_is_true() -> None:
    """Every error is in the drawing under its real parent, with the exit code it says."""
    defined = {
        name: error
        for name, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, Exception) and error.__module__ == errors.__name__
    }
    tree = drawn_tree()
    assert set(tree) == set(defined)
    for name, (parent, words) in tree.items():
        assert parent is None or defined[name].__bases__ == (defined[parent],)
        if "exit " in words:
            assert defined[name].exit_code == int(words.rsplit("exit ", 1)[1])


def test_a_rejection_carries_the_word_of_the_exchange() -> None:
    """The code can be acted on, the message can be read."""
    rejected = errors.OrderRejected("order_already_exists", "known id")
    assert (rejected.code, str(rejected)) == ("order_already_exists", "order_already_exists: known id")
