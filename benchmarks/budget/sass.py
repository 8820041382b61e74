"""Machine code as `cuobjdump -sass` prints it: instructions, what class each is of, what it moves."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

FUNCTION = re.compile(r"Function : (\S+)")
INSTRUCTION = re.compile(
    r"\s*/\*(?P<address>[0-9a-f]{4,})\*/\s+(?P<predicate>@!?U?P\w+\s+)?(?P<opcode>[A-Z][\w.]*)"
    r"\s*(?P<operands>[^;]*);"
)
TARGET = re.compile(r"(?:^|[\s,])(0x[0-9a-f]+)\s*$")

CLASSES = ("memory", "integer", "float", "warp", "slow", "control")


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# By the first part of the opcode; what is in none of them is an integer instruction.
MEMORY = names(
    "LDG STG LDS STS LDL STL LD ST LDC ULDC LDCU LDGSTS LDSM ATOM ATOMG ATOMS RED REDG REDAS MEMBAR CCTL "
    "LDGDEPBAR ERRBAR"
)
FLOAT = names(
    "FFMA FFMA2 FADD FADD2 FMUL FMUL2 FMNMX FMNMX3 FSETP FSET FSEL HADD2 HMUL2 HFMA2 HSETP2 HSET2 HMNMX2 F2FP"
)
WARP = names("SHFL VOTE VOTEU REDUX CREDUX MATCH R2UR S2R S2UR")
# A quarter of the rate of an addition or less, on some architecture: conversions, double, the
# function unit, bit scans; and whatever leaves the loop for a call.
SLOW = names(
    "F2I I2F I2FP F2F FRND MUFU DADD DMUL DFMA DSETP DMNMX FLO UFLO POPC UPOPC BREV UBREV CALL UF2I UI2F FCHK"
)
CONTROL = names(
    "BRA BRX JMP JMX BSSY BSYNC BREAK BMOV EXIT RET NOP WARPSYNC YIELD BAR DEPBAR NANOSLEEP KILL BPT "
    "UCGABAR_ARV UCGABAR_WAIT ACQBULK PREEXIT"
)

# Float by meaning, but executed by the integer units.
ON_INTEGER_UNITS = names("FMNMX FMNMX3 FSETP FSET FSEL HSETP2 HSET2 HMNMX2")
PIPES = ("fma", "alu", "warp", "slow", "load/store", "none")


@dataclass(frozen=True)
class Instruction:
    address: int
    predicate: str
    opcode: str
    operands: str

    @property
    def base(self) -> str:
        return self.opcode.split(".")[0]

    @property
    def target(self) -> int | None:
        """Where a jump goes, if it says so itself."""
        found = TARGET.search(self.operands)
        return int(found.group(1), 16) if found and self.base in ("BRA", "JMP", "CALL") else None

    @property
    def jumps(self) -> bool:
        """A call that leads behind the next instruction comes from nowhere and goes back to nowhere: a loop's exit."""
        return self.base in ("BRA", "JMP") or (
            self.base == "CALL" and self.target == self.address + 0x20
        )

    @property
    def is_conditional(self) -> bool:
        """Whether the next instruction may follow: by a predicate before or among the operands."""
        return bool(self.predicate) or bool(re.match(r"!?U?P\d", self.operands)) or self.diverges

    @property
    def diverges(self) -> bool:
        """A jump that is taken only where the lanes of a warp have parted (`BRA.DIV`)."""
        return self.opcode.startswith("BRA.DIV")

    @property
    def kind(self) -> str:
        if self.jumps:
            return "control"
        for name, bases in zip(
            ("memory", "float", "warp", "slow", "control"),
            (MEMORY, FLOAT, WARP, SLOW, CONTROL),
            strict=True,
        ):
            if self.base in bases:
                return name
        return "integer"

    @property
    def pipe(self) -> str:
        """The unit that executes it; uniform and control instructions share no unit that matters here."""
        if self.kind == "memory":
            return "load/store" if self.base not in ("LDC", "ULDC", "LDCU") else "none"
        if self.kind in ("warp", "slow"):
            return self.kind
        if self.kind == "control" or self.base.startswith("U"):
            return "none"
        if self.base in ON_INTEGER_UNITS:
            return "alu"
        return "fma" if self.kind == "float" or self.base == "IMAD" else "alu"

    @property
    def loads(self) -> bool:
        return self.base in ("LDG", "LD", "LDGSTS")

    @property
    def stores(self) -> bool:
        return self.base in ("STG", "ST")

    @property
    def width(self) -> int:
        """Bytes of global memory that a lane loads or stores; 0 for what does neither."""
        if not self.loads and not self.stores:
            return 0
        parts = self.opcode.split(".")
        sizes = {"256": 32, "128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
        return next((sizes[part] for part in parts if part in sizes), 4)


@dataclass(frozen=True)
class Function:
    name: str
    instructions: tuple[Instruction, ...]


def parse(text: str) -> list[Function]:
    """The kernels of a listing, in its order; what a kernel calls stands behind its own code."""
    found: list[tuple[str, list[Instruction]]] = []
    for line in text.splitlines():
        if name := FUNCTION.search(line):
            found.append((name.group(1), []))
        elif found and (match := INSTRUCTION.match(line)):
            fields = match.groupdict(default="")
            found[-1][1].append(
                Instruction(
                    int(fields["address"], 16),
                    fields["predicate"].strip(),
                    fields["opcode"],
                    fields["operands"].strip(),
                )
            )
    return [Function(name, tuple(instructions)) for name, instructions in found]


def by_class(instructions: Iterable[Instruction]) -> Counter[str]:
    return Counter(instruction.kind for instruction in instructions)


def by_pipe(instructions: Iterable[Instruction]) -> Counter[str]:
    return Counter(instruction.pipe for instruction in instructions)
