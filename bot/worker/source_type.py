"""What says in every file that a model made it, as IPTC defines it and EU AI Act Art. 50(2) asks for.

https://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia
"""

from __future__ import annotations

from PIL.PngImagePlugin import PngInfo

NOTE = "Made by a model (https://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia)"
"""The same for formats without a place for XMP that other programs look at: MP4, GIF and, as Pillow writes it, PDF."""

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    "</rdf:RDF></x:xmpmeta>"
)


def png_info() -> PngInfo:
    """The text chunks of a new PNG: the program, and the source type."""
    info = PngInfo()
    info.add_text("Software", "Atelier")
    info.add_itxt("XML:com.adobe.xmp", XMP)
    return info
