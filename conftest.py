"""Doctests in Markdown: the fence that closes a block ends the expected output, as a blank line does."""

import doctest
import re


class MarkdownParser(doctest.DocTestParser):
    def parse(self, string, name="<string>"):
        return super().parse(re.sub(r"^ *```.*$", "", string, flags=re.MULTILINE), name)


doctest.DocTestParser = MarkdownParser  # where pytest looks it up
