"""Small folders of plain pictures, in classes by their colours."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def paint(folder: Path, name: str, colour: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), COLOURS[colour]).save(path)
    return path


def classes(folder: Path) -> Path:
    for colour in COLOURS:
        for number in range(2):
            paint(folder, f"{colour}/{number}.png", colour)
    return folder
