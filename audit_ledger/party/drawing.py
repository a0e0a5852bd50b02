"""Charts as files in the reader's language: how every program finds a font with Chinese characters and writes PNG or SVG.

Import it where a chart is drawn and not before: matplotlib takes half a second.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import font_manager
from matplotlib.figure import Figure

CJK_FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "SimHei",
             "Microsoft YaHei", "PingFang SC", "Noto Sans CJK JP", "Droid Sans Fallback")  # fmt: skip
LINE_COLOUR, CITY_COLOUR = "#b5442e", "#1f4e79"
# It warns of every weight that a Chinese font lacks.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


def chinese_font() -> str | None:
    """The first installed font that can write the labels."""
    return _installed() or (_installed() if _read_new_fonts() else None)


def _installed() -> str | None:
    names = set(font_manager.get_font_names())
    return next((name for name in CJK_FONTS if name in names), None)


def _read_new_fonts() -> bool:
    """Fonts installed after matplotlib wrote its list of them; whether there are any."""
    known = {each.fname for each in font_manager.fontManager.ttflist}
    found = [each for each in font_manager.findSystemFonts() if each not in known]
    for each in found:
        try:
            font_manager.fontManager.addfont(each)
        except (OSError, RuntimeError):  # a file that is no font
            continue
    return bool(found)


def save(make: Callable[[bool], Figure], path: Path, is_chinese: bool) -> bool:
    """Writes what `make` draws (told whether in Chinese), in English where no font can write Chinese; whether it was as wished.

    Raises: OSError.
    """
    font = chinese_font() if is_chinese else None
    families = [each for each in (font, "DejaVu Sans") if each]
    with mpl.rc_context({"font.family": families, "svg.fonttype": "path", "axes.unicode_minus": False}):
        make(font is not None).savefig(path, dpi=150)
    return is_chinese == (font is not None)
