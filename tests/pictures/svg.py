"""What all pictures of the docs have in common, whichever program drew them.

A picture has a name and a description for those who cannot see it, the reader's own fonts, and a
background of its own. It follows the reader's choice of light or dark. Its text can be read where
the picture is 360 pixels wide, as on a telephone.
"""
import re
import shutil
import subprocess
import sys
from html import escape

TEXT_MIN = 10  # pixels

# A color on white, and what stands for it on a dark screen. The palette is that of Okabe and Ito,
# whose colors readers with each kind of color blindness can tell apart. A style sheet that replaces
# attributes is ignored by programs that know no @media, and they show the light picture.
DARK = {
    "#ffffff": "#14181d",  # background
    "#000000": "#f0f0f0",  # text and lines
    "#555555": "#b4b4b4",  # axes and remarks
    "#d8d8d8": "#3c4248",  # grid
    "#0072b2": "#56b4e9",  # blue; sky blue
    "#d55e00": "#e69f00",  # vermilion; orange
    "#009e73": "#2fc79b",  # green
    "#7a6000": "#e8c547",  # yellow: on white it is brown
    "#aa4a85": "#cc79a7",  # purple: on white it is a darker one
    "#cfe3ef": "#1d3a4d",  # areas: blue
    "#f7dfcc": "#4d3a14",  # vermilion
    "#ccece3": "#17443a",  # green
    "#eedbe7": "#47303d",  # purple
    "#efe6bb": "#4a4218",  # yellow
    "#dddddd": "#3a3f45",  # gray
}
INK, MUTED, GRID = "#000000", "#555555", "#d8d8d8"
COLORS = ["#000000", "#0072b2", "#d55e00", "#009e73", "#aa4a85", "#7a6000"]
AREAS = dict(zip(COLORS, ["#dddddd", "#cfe3ef", "#f7dfcc", "#ccece3", "#eedbe7", "#efe6bb"]))


def style():
    rules = [
        "[%s='%s'] { %s: %s }" % (attribute, light, attribute, dark)
        for light, dark in DARK.items() for attribute in ("fill", "stroke", "color")
    ]
    return ("text { font-family: system-ui, sans-serif }\n"
            "text.mono { font-family: ui-monospace, monospace; white-space: pre }\n"
            "@media screen and (prefers-color-scheme: dark) {\n%s\n}" % "\n".join(rules))


def picture(width, height, title, description, body):
    """A whole SVG file. The body draws in units, from 0 to width and from 0 to height."""
    smallest = min(map(float, re.findall(r'font-size="([\d.]+)', body)))
    if smallest * 360 / width < TEXT_MIN:
        sys.exit("%s: %g units wide, with text of %g" % (title, width, smallest))
    return """<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" height="{h:.0f}" \
viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="title description">
<title id="title">{title}</title>
<desc id="description">{description}</desc>
<style>
{style}
</style>
<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>
{body}
</svg>
""".format(w=width * 1.5, h=height * 1.5, width=width, height=height, title=escape(title),
           description=escape(description), style=style(), body=body.strip())


def hexadecimal(match):
    """"rgb(0, 128, 255)" as "#0080ff"."""
    return '"#%02x%02x%02x"' % tuple(int(part) for part in match.groups())


def adopt(drawn, title, description):
    """Makes a picture of what dot or gnuplot has drawn: with our head, and our way of colors."""
    by_dot = re.search(r'<svg width="[\d.]+pt"', drawn)
    left, top, width, height = map(float, re.search(r'viewBox="([^"]+)"', drawn).group(1).split())
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1:drawn.rindex("</svg>")]
    body = re.sub(r"(?s)<!--.*?-->|<title>.*?</title>|<desc>.*?</desc>", "", body)
    body = re.sub(r"(?s)<filter.*?</filter>", "", body).replace("xlink:href", "href")
    body = re.sub(r"\s*=\s*(['\"])(.*?)\1", r'="\2"', body)
    body = re.sub(r'"rgb\(\s*(\d+),\s*(\d+),\s*(\d+)\)"', hexadecimal, body)
    body = re.sub(r' (font-family|id)="(?!gp)[^"]*"', "", body)
    for word, value in (("black", "#000000"), ("white", "#ffffff"), ("transparent", "none")):
        body = body.replace('"%s"' % word, '"%s"' % value)
    if by_dot:  # its text is black without saying so
        body = re.sub(r"<text(?![^>]*fill=)", '<text fill="#000000"', body)
    body = re.sub(r"[ \t]+\n|\n\s*\n", "\n", body)
    body = re.sub(r"\n\s+", "\n", body)
    body = '<g transform="translate(%g,%g)">\n%s\n</g>' % (-left, -top, body.strip())
    return picture(round(width), round(height), title, description, body)


def draw_dot(dot):
    """What dot draws: an SVG without our head."""
    if not shutil.which("dot"):
        sys.exit("dot is missing, which draws this picture: make setup")
    return subprocess.run(["dot", "-Tsvg"], input=dot, text=True, check=True,
                          stdout=subprocess.PIPE).stdout


def main():
    """svg.py FILE.dot FILE.svg: the title and the description are comments in the first file."""
    with open(sys.argv[1], encoding="utf-8") as f:
        dot = f.read()
    comments = " ".join(re.findall(r"(?m)^// (.*)", dot))
    title, description = re.search("title: (.*?) description: (.*)", comments).groups()
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(adopt(draw_dot(dot), title, description))


if __name__ == "__main__":
    main()
