"""What stands around a text that grows, and must not make each piece of it dearer.

Textual lays out again whatever changed its size in a layout, and renders each line of a container although its children
cover it. Neither is needed here: a piece of text costs one layout, and a container one line.
"""

from __future__ import annotations

from textual.geometry import Region, Size
from textual.reactive import Reactive
from textual.strip import Strip
from textual.widget import Widget


class Settled(Widget):
    """Its size changes in a layout, and asks for no other one."""

    virtual_size = Reactive(Size(0, 0), repaint=False)


class Growing(Settled):
    """A container without a title and without borders above and below: its lines are all alike.

    Named last among the bases: the first one's style is what Textual takes.
    """

    def render_lines(self, crop: Region) -> list[Strip]:
        return super().render_lines(Region(crop.x, crop.y, crop.width, 1)) * crop.height
