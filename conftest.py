"""Doctests in Markdown: the fence that closes a block ends the expected output, as a blank line does.

Pages and modules that are about SciPy's arrays are left out where SciPy is not installed.
"""

import doctest
import re
from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("scipy") else ["docs/transformations/sparse.md", "functrans/sparse/*"]


class MarkdownParser(doctest.DocTestParser):
    def parse(self, string, name="<string>"):
        return super().parse(re.sub(r"^ *```.*$", "", string, flags=re.MULTILINE), name)


doctest.DocTestParser = MarkdownParser  # where pytest looks it up
