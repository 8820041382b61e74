"""The loops of a kernel, and the path through one of them that a usual trip takes."""

from dataclasses import dataclass, field

from benchmarks.budget.sass import Function, Instruction

WIDE = 16  # bytes: a load of the hot loop
LAST_CONSTANT = (
    "1.4142136573791503"  # kC0 of csrc/spec/weight.h: the polynomial of each weight ends with it
)


@dataclass
class Block:
    """Instructions that follow one another, and the blocks that may come next."""

    instructions: list[Instruction]
    after: list[int] = field(default_factory=list)

    @property
    def last(self) -> Instruction:
        return self.instructions[-1]


def ends_block(instruction: Instruction) -> bool:
    return instruction.jumps or instruction.base in ("BRX", "EXIT", "RET")


def blocks_of(function: Function) -> dict[int, Block]:
    """By the address of their first instruction. A call comes back to the next one; `BRA.DIV` is never taken."""
    starts = {function.instructions[0].address}
    ends = False
    for instruction in function.instructions:
        if ends:
            starts.add(instruction.address)
        if instruction.target is not None:
            starts.add(instruction.target)
        ends = ends_block(instruction)
    blocks: dict[int, Block] = {}
    for instruction in function.instructions:
        if instruction.address in starts:
            blocks[instruction.address] = Block([])
            current = blocks[instruction.address]
        current.instructions.append(instruction)
    order = list(blocks)
    for place, start in enumerate(order):
        last = blocks[start].last
        if last.jumps and last.target in blocks and not last.diverges:
            blocks[start].after.append(last.target)
        goes_on = last.is_conditional or not ends_block(last)
        if goes_on and place + 1 < len(order) and order[place + 1] not in blocks[start].after:
            blocks[start].after.append(order[place + 1])
    return blocks


def postorder(blocks: dict[int, Block], root: int, seen: set[int]) -> list[int]:
    found: list[int] = []
    seen.add(root)
    stack = [(root, iter(blocks[root].after))]
    while stack:
        node, rest = stack[-1]
        following = next((to for to in rest if to not in seen), None)
        if following is None:
            stack.pop()
            found.append(node)
        else:
            seen.add(following)
            stack.append((following, iter(blocks[following].after)))
    return found


def dominators(blocks: dict[int, Block], order: list[int], roots: set[int]) -> dict[int, int]:
    """The immediate dominator of each block, by iteration (Cooper, Harvey and Kennedy); -1 is above all roots."""
    number = {node: place for place, node in enumerate(order)}
    number[-1] = -1
    before: dict[int, list[int]] = {node: [] for node in order}
    for node in order:
        for to in blocks[node].after:
            before[to].append(node)
    found = dict.fromkeys(roots, -1)
    found[-1] = -1
    changed = True
    while changed:
        changed = False
        for node in order:
            if node in roots:
                continue
            known = [other for other in before[node] if other in found]
            best = known[0]
            for other in known[1:]:
                while best != other:
                    if number[best] > number[other]:
                        best = found[best]
                    else:
                        other = found[other]
            if found.get(node) != best:
                found[node] = best
                changed = True
    return found


@dataclass(frozen=True)
class Loop:
    """A natural loop: all blocks from which its head is reached without leaving through the head."""

    head: int
    latches: tuple[int, ...]
    body: frozenset[int]


def loops_of(blocks: dict[int, Block]) -> list[Loop]:
    """All natural loops, by address."""
    entry = next(iter(blocks))
    called = {
        instruction.target
        for block in blocks.values()
        for instruction in block.instructions
        if instruction.base == "CALL" and not instruction.jumps and instruction.target in blocks
    }
    roots = {entry} | {target for target in called if target is not None}
    seen: set[int] = set()
    order: list[int] = []
    for root in sorted(roots, reverse=True):
        if root not in seen:
            order = postorder(blocks, root, seen)[::-1] + order
    above = dominators(blocks, order, roots)

    def dominates(upper: int, lower: int) -> bool:
        while lower not in (upper, -1):
            lower = above[lower]
        return lower == upper

    before: dict[int, list[int]] = {node: [] for node in order}
    for node in order:
        for to in blocks[node].after:
            before[to].append(node)
    latches: dict[int, list[int]] = {}
    for node in order:
        for to in blocks[node].after:
            if dominates(to, node):
                latches.setdefault(to, []).append(node)
    found = []
    for head, sources in sorted(latches.items()):
        body, rest = {head}, list(sources)
        while rest:
            node = rest.pop()
            if node not in body:
                body.add(node)
                rest += before[node]
        found.append(Loop(head, tuple(sources), frozenset(body)))
    return found


def worth(block: Block) -> tuple[int, int, int, int]:
    """What makes a path the usual one, most important first: see `usual_path`."""
    wide = sum(i.loads and i.width >= WIDE for i in block.instructions)
    fused = sum(i.base in ("FFMA", "FFMA2") for i in block.instructions)
    slow = sum(i.kind == "slow" for i in block.instructions)
    return wide, fused, -slow, len(block.instructions)


def usual_path(blocks: dict[int, Block], loop: Loop) -> list[Instruction]:
    """The instructions of one trip by the path with the most wide loads; of several, the most fused
    multiply-adds (the weights), then the fewest slow instructions, then the most instructions of all.

    Loops inside the loop are gone through once.
    """
    seen: set[int] = set()
    inner = {
        node: Block([], [to for to in blocks[node].after if to in loop.body and to != loop.head])
        for node in loop.body
    }
    order = postorder(inner, loop.head, seen)
    place = {node: number for number, node in enumerate(order)}
    best: dict[int, tuple[tuple[int, ...], int | None]] = {}
    for node in order:
        own = worth(blocks[node])
        choices: list[tuple[tuple[int, ...], int | None]] = []
        if node in loop.latches:
            choices.append((own, None))
        for to in inner[node].after:
            if place[to] < place[node] and to in best:
                choices.append((tuple(a + b for a, b in zip(own, best[to][0], strict=True)), to))
        if choices:
            best[node] = max(choices, key=lambda choice: choice[0])
    path: list[Instruction] = []
    node: int | None = loop.head
    while node is not None:
        path += blocks[node].instructions
        node = best[node][1]
    return path


def weighed(path: list[Instruction]) -> int:
    """How many logits' weights are computed on the way."""
    return sum(i.base in ("FFMA", "FFMA2") and LAST_CONSTANT in i.operands for i in path)


def is_mass_loop(path: list[Instruction]) -> bool:
    """Whether it reads rows, and nothing else, weighs what it read, and stores a maximum and a mass.

    A look that comes later asks first what the scan found of a block, or stores other things.
    """
    widths = [i.width for i in path if i.loads]
    stores = {i.width for i in path if i.stores}
    return bool(widths) and min(widths) >= WIDE and weighed(path) > 0 and {4, 8} <= stores


def wide_loops(function: Function) -> list[list[Instruction]]:
    """The usual paths of the innermost loops that have wide loads, by address."""
    blocks = blocks_of(function)
    loops = [
        loop
        for loop in loops_of(blocks)
        if any(i.loads and i.width >= WIDE for b in loop.body for i in blocks[b].instructions)
    ]
    innermost = [loop for loop in loops if not any(other.body < loop.body for other in loops)]
    return [usual_path(blocks, loop) for loop in innermost]


def mass_loops(function: Function) -> list[list[Instruction]]:
    """One trip of each loop that reads a row and weighs it, the one with the fewest instructions a logit first."""
    found = [path for path in wide_loops(function) if is_mass_loop(path)]
    return sorted(found, key=lambda path: len(path) / weighed(path))
