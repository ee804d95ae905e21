"""A tall terminal that understands what pytest, rich and the plugin write to it."""

from __future__ import annotations

import re

_CODE = re.compile(r"\x1b\[\??([0-9;]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b([D78])|(\r)|(\n)|([^\x1b\r\n]+)")


def lines_left(written: str) -> list[str]:
    """What it shows in the end: it knows text, line ends, erasing, and moves up and down."""
    lines, row, column, saved = [""], 0, 0, (0, 0)
    for found in _CODE.finditer(written):
        number, code, single, returned, ended, text = found.groups()
        if returned:
            column = 0
        elif ended or single == "D":
            row, column = row + 1, 0 if ended else column
            lines += [""] * (row + 1 - len(lines))
        elif code == "A":
            row = max(0, row - int(number or 1))
        elif code == "B":
            row = min(len(lines) - 1, row + int(number or 1))
        elif code == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
        elif code == "J":
            lines[row] = lines[row][:column]
            lines[row + 1 :] = [""] * (len(lines) - row - 1)
        elif single == "7":
            saved = row, column
        elif single == "8":
            row, column = saved
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return lines
