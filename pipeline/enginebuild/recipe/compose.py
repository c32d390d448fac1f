"""YAML into nodes. PyYAML scans and parses (YAML 1.1 syntax); values are read by YAML 1.2's core schema.

What means one thing in YAML 1.1 and another in 1.2 (`no`, `010`, `1:30`, `1_000`) is refused, not guessed.
Tags, merge keys, directives and second documents are refused; anchors work within a small budget.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import yaml

from enginebuild.recipe.node import Entry, InvalidNode, ListNode, MappingNode, Node, ScalarNode
from enginebuild.recipe.scalar import ScalarError, read_plain
from enginebuild.recipe.show import bare, quoted
from enginebuild.recipe.syntax import Mark, explain
from enginebuild.recipe.text import Finding, Source, Span

#: Lists and mappings within each other. The deepest recipe that makes sense has about six.
DEEPEST = 32
#: Keys and values of a text, each use of an alias being one. Ten thousand are read in about a second.
MOST_VALUES = 10_000
#: Values that all aliases of a text may expand to, together.
MOST_ALIASED = 1000


#: What `!!` stands for.
_CORE_TAGS = "tag:yaml.org,2002:"


class UnreadableError(Exception):
    """Nothing after this place can be read."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@dataclass
class Composer:
    """Makes one node of one text. `begin` is where the YAML begins in the source (after `--set key=`)."""

    source: Source
    begin: int = 0
    findings: list[Finding] = field(default_factory=list)
    _anchors: dict[str, tuple[Node, int, int]] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)
    _read: int = 0
    _made: int = 0
    _aliased: int = 0

    def compose(self) -> Node | None:
        """The text's value; None if there is none. Mistakes are in `findings`; UnreadableError ends it."""
        try:
            self._loader = yaml.SafeLoader(self.source.text[self.begin :])
        except yaml.reader.ReaderError as error:
            raise self._control_character(error) from error
        try:
            return self._document()
        except yaml.MarkedYAMLError as error:
            raise UnreadableError(explain(error, self.source, self.begin)) from error
        except (ValueError, OverflowError, IndexError) as error:
            # PyYAML 6.0.3 lets chr() and int() raise: "\UFFFFFFFF", %YAML with 5000 digits.
            mark = self._loader.get_mark()
            message = "a number or an escape before this place is too large to read"
            raise UnreadableError(Finding(self._span(mark), message)) from error

    def _document(self) -> Node | None:
        self._next()
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            return None
        if isinstance(start, yaml.DocumentStartEvent) and (start.version or start.tags):
            self._refuse(start, "a recipe has no YAML directives", "delete the lines that begin with '%'")
        node = self._node(0)[0]
        self._next()
        more = self._next()
        if not isinstance(more, yaml.StreamEndEvent):
            self._refuse(more, "a second YAML document begins here", "one file holds one recipe: split it")
        return node

    def _node(self, depth: int, key: bool = False) -> tuple[Node, int]:
        """The next value, and how many levels are within it."""
        event = self._next()
        self._read += 1
        if self._read > MOST_VALUES:
            message = f"more than {MOST_VALUES:,} keys and values"
            hint = "is this another file instead of the recipe?"
            raise UnreadableError(Finding(self._span(event.start_mark), message, hint))
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if not isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent):
            raise ValueError(f"an event that begins no value: {event}")
        if depth > DEEPEST:
            message = f"lists and mappings are nested more than {DEEPEST} deep"
            raise UnreadableError(Finding(self._span(event.start_mark), message))
        anchor, before = event.anchor, self._made
        if anchor is not None:
            self._begin_anchor(anchor, event)
        self._made += 1
        node, levels = self._content(event, depth, key)
        if event.tag is not None:
            tag = quoted(str(event.tag).replace(_CORE_TAGS, "!!"))
            message = f"a recipe has no YAML tags, this value has {tag}"
            self._refuse(event, message, "delete the tag, or quote a text that begins with '!'")
            node = InvalidNode(node.span)
        if anchor is not None:
            self._open.discard(anchor)
            self._anchors[anchor] = (node, self._made - before, levels)
        return node, levels

    def _content(
        self,
        event: yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent,
        depth: int,
        key: bool,
    ) -> tuple[Node, int]:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, key), 0
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(event, depth)
        return self._mapping(event, depth)

    def _scalar(self, event: yaml.ScalarEvent, key: bool) -> Node:
        span, text = self._span(event.start_mark), str(event.value)
        if event.style is not None:
            return self._text(text, span)
        try:
            return ScalarNode(read_plain(text), text, span)
        except ScalarError as error:
            self.findings.append(
                Finding(span, error.message, f'quote it: "{bare(text)}"' if key else error.hint)
            )
            return InvalidNode(span)

    def _text(self, text: str, span: Span) -> Node:
        if any(0xD800 <= ord(char) <= 0xDFFF or char == "\0" for char in text):
            message = "this text holds half of a character (a lone surrogate) or a NUL"
            self.findings.append(Finding(span, message, "write the character itself instead of an escape"))
            return InvalidNode(span)
        return ScalarNode(text, text, span)

    def _list(self, event: yaml.SequenceStartEvent, depth: int) -> tuple[Node, int]:
        items, deepest = [], 0
        while not self._loader.check_event(yaml.SequenceEndEvent):
            item, levels = self._node(depth + 1)
            items.append(item)
            deepest = max(deepest, levels)
        self._next()
        return ListNode(tuple(items), self._span(event.start_mark)), deepest + 1

    def _mapping(self, event: yaml.MappingStartEvent, depth: int) -> tuple[Node, int]:
        entries: dict[str, Entry] = {}
        deepest = 0
        while not self._loader.check_event(yaml.MappingEndEvent):
            plain = self._plain_ahead()
            key = self._key(self._node(depth + 1, key=True)[0], plain)
            value, levels = self._node(depth + 1)
            deepest = max(deepest, levels)
            if key is not None:
                self._add(entries, key, value)
        self._next()
        return MappingNode(entries, self._span(event.start_mark)), deepest + 1

    def _key(self, node: Node, plain: bool) -> ScalarNode | None:
        """A key that is text; None if it is not, which is then reported."""
        if isinstance(node, InvalidNode):
            return None
        if not isinstance(node, ScalarNode):
            self.findings.append(Finding(node.span, "a key must be text, not a list or a mapping"))
            return None
        if plain and node.text == "<<":
            hint = "write the keys out, or share one value with an anchor and an alias"
            self.findings.append(Finding(node.span, "merge keys (<<) are YAML 1.1 only", hint))
            return None
        if not isinstance(node.value, str):
            what = f"not {node.text}" if node.text else "and here is none"
            hint = f'quote it: "{node.text}"' if node.text else "write the key before the colon"
            self.findings.append(Finding(node.span, f"a key must be text, {what}", hint))
            return None
        return node

    def _add(self, entries: dict[str, Entry], key: ScalarNode, value: Node) -> None:
        first = entries.get(str(key.value))
        if first is None:
            entries[str(key.value)] = Entry(key.span, value)
            return
        message = f"duplicate key {quoted(str(key.value))}"
        self.findings.append(Finding(key.span, message, f"it is also in line {first.key.line}: keep one"))

    def _begin_anchor(self, anchor: str, event: yaml.NodeEvent) -> None:
        if anchor in self._anchors or anchor in self._open:
            self._refuse(event, f"the anchor &{anchor} is given twice", "give each anchor its own name")
        self._open.add(anchor)

    def _alias(self, event: yaml.AliasEvent, depth: int) -> tuple[Node, int]:
        span, anchor = self._span(event.start_mark), str(event.anchor)
        if anchor in self._open:
            self._refuse(event, f"*{anchor} stands within its own anchor &{anchor}", "write the value out")
            return InvalidNode(span), 0
        if anchor not in self._anchors:
            hint = f"put &{anchor} before the value it stands for, or quote a text that begins with '*'"
            self._refuse(event, f"*{anchor} has no anchor &{anchor} before it", hint)
            return InvalidNode(span), 0
        node, size, levels = self._anchors[anchor]
        self._made += size
        self._aliased += size
        if self._aliased > MOST_ALIASED:
            message = f"aliases expand to more than {MOST_ALIASED} values"
            raise UnreadableError(Finding(span, message, "write the values out"))
        if depth + levels > DEEPEST:
            message = f"lists and mappings are nested more than {DEEPEST} deep"
            raise UnreadableError(Finding(span, message))
        return replace(node, span=span), levels

    def _next(self) -> yaml.Event:
        return cast("yaml.Event", self._loader.get_event())  # type: ignore[no-untyped-call] # PyYAML's stubs

    def _plain_ahead(self) -> bool:
        event = self._loader.peek_event()  # type: ignore[no-untyped-call] # leave both untyped
        return isinstance(event, yaml.ScalarEvent) and event.style is None

    def _span(self, mark: Mark | None) -> Span:
        index = len(self.source.text) if mark is None else self.begin + mark.index
        return Span(self.source, min(index, len(self.source.text)))

    def _refuse(self, event: yaml.Event, message: str, hint: str) -> None:
        self.findings.append(Finding(self._span(event.start_mark), message, hint))

    def _control_character(self, error: yaml.reader.ReaderError) -> UnreadableError:
        code = ord(error.character) if isinstance(error.character, str) else int(error.character)
        span = Span(self.source, self.begin + error.position)
        message = f"the character U+{code:04X} is not allowed in YAML"
        return UnreadableError(Finding(span, message, "delete it, or write it as an escape in double quotes"))
