"""A comparison as one self-contained HTML page: tables, pictures, settings."""

import base64
import html
import json

from .report import (
    EQUALLY,
    cost_cells,
    cost_headers,
    headers,
    notes,
    pace_text,
    result_cells,
    tuning_text,
    warnings,
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd;
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid #666; }
td.lower { color: #005a8d; font-weight: 600; } td.higher { color: #a33a00; font-weight: 600; }
p.warning { border-left: 4px solid #e69f00; padding: .2rem .8rem; margin: .4rem 0;
            background: #fff8e8; }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: .85rem; }
img { max-width: 100%; height: auto; }
"""


def page(comparison, pictures):
    """The page as text.

    Parameters
    ----------
    comparison : Comparison
    pictures : dict of str to bytes
        A PNG for each table, by what is equal.
    """
    title = comparison.settings.get("title", "Comparison")
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for table in comparison.tables:
        count = len(comparison.seeds)
        parts += [f"<h2>{EQUALLY[table.equal]}, {count} seed{'s' * (count > 1)}</h2>"]
        image = base64.b64encode(pictures[table.equal]).decode()
        words = f"Final {table.measure.name}, differences to {table.reference}, and curves"
        parts += [
            f'<img alt="{html.escape(words, quote=True)}" src="data:image/png;base64,{image}">',
            _table(headers(table), [result_cells(table, row) for row in table.rows]),
            *(f'<p class="warning">{html.escape(line)}</p>' for line in warnings(table)),
            _table(cost_headers(table), [cost_cells(row) for row in table.rows]),
        ]
        if table.equal == "time":
            parts += [f"<p>{html.escape(pace_text(table))}</p>"]
        if any(len(row.tuning) > 1 for row in table.rows):
            parts += [f"<pre>{html.escape(tuning_text(comparison, table))}</pre>"]
    settings = json.dumps(comparison.settings, indent=2)
    parts += [
        f"<p>{html.escape(' '.join(notes(comparison)))}</p>",
        f"<details open><summary>Settings and versions</summary><pre>{html.escape(settings)}</pre>"
        "</details>",
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _table(head, rows):
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ["".join(map(_cell, row)) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><tr>{top}</tr>\n{body}</table></div>'


def _cell(text):
    kind = f' class="{text}"' if text in ("lower", "higher") else ""
    return f"<td{kind}>{html.escape(text)}</td>"
