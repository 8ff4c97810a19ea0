"""What a trained network takes for what, from the files that a test leaves in its run folder.

``confusion.csv``: a header with the classes as they are told, and a row for each true class with the numbers of its
images; ``wrong.csv``: the images that are told wrongly; ``confusion.png`` and ``wrong.png``: both as pictures.
"""

from __future__ import annotations

from isnas.draw.markup import escaped, folded, paragraph, picture, table
from isnas.engine.run_files import RunFiles, count

_MOST_CLASSES, _MOST_PAIRS, _MOST_IMAGES = 20, 10, 200


def mistakes(files: RunFiles) -> list[str]:
    """The parts of a page about them; none where the network has not been tested for it."""
    parts = []
    if len(matrix := files.table("confusion.csv")) > 1:
        classes, rows = matrix[0][1:], [(row[0], [count(cell) for cell in row[1:]]) for row in matrix[1:]]
        images = sum(sum(numbers) for _, numbers in rows)
        wrong = [
            (number, true, told)
            for true, numbers in rows
            for told, number in zip(classes, numbers)
            if number and true != told
        ]
        parts.append(paragraph(f"{sum(each[0] for each in wrong):,.0f} of {images:,.0f} test images are told wrongly."))
        parts.append(_heat(classes, rows) if len(classes) <= _MOST_CLASSES else "")
        worst = sorted(wrong, key=lambda each: -each[0])[:_MOST_PAIRS]
        pairs = [(true, told, f"{number:,.0f}") for number, true, told in worst]
        parts.append(folded("The most frequent", table(["class", "taken for", "images"], pairs, 2)) if pairs else "")
    if not parts or len(matrix[0]) > _MOST_CLASSES + 1:
        parts.append(picture(files.picture("confusion.png"), "Classes against what they are taken for", "sheet"))
    parts.append(picture(files.picture("wrong.png"), "Images that are told wrongly", "sheet"))
    if len(wrong_images := files.table("wrong.csv")) > 1:
        header, *lines = wrong_images
        title = f"{len(lines):,} images that are told wrongly"
        title += f", the first {_MOST_IMAGES}" if len(lines) > _MOST_IMAGES else ""
        parts.append(folded(title, table(header, lines[:_MOST_IMAGES], len(header))))
    return parts


def _heat(classes: list[str], rows: list[tuple[str, list[float]]]) -> str:
    """The numbers of images, in a colour that is the stronger the larger the share of the true class."""
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in classes)
    lines = []
    for true, numbers in rows:
        most = sum(numbers) or 1.0
        shares = [f"background:rgba(var(--heat),{0.75 * number / most:.2f})" for number in numbers]
        cells = [f'<td style="{share}">{number:,.0f}</td>' for share, number in zip(shares, numbers)]
        lines.append(f'<tr><th scope="row">{escaped(true)}</th>{"".join(cells)}</tr>')
    note = paragraph("Rows are the true classes, columns what they are taken for.")
    return f'{note}<div class="wide"><table class="heat"><tr><td></td>{head}</tr>{"".join(lines)}</table></div>'
