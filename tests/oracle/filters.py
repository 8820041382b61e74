"""Rules R4: each filter takes and returns a number of candidates, counted from the first."""

from collections import defaultdict

from .tokens import Weighed, Weight


def top_p(row: Weighed, n: int, p: float) -> int:
    """R4.2: the shortest prefix whose mass reaches the target, of the first n candidates."""
    num, den = p.as_integer_ratio()
    target = max(1, -(-num * row.mass(row.order[:n]) // den))
    masses: dict[int, int] = defaultdict(int)
    total = 0
    for length, i in enumerate(row.order[:n], start=1):
        before = row.aligned(i >> 6, masses[i >> 6])
        masses[i >> 6] += row.in_block(i)
        total += row.aligned(i >> 6, masses[i >> 6]) - before
        if total >= target:
            return length
    raise AssertionError("the whole of a row reaches any target")


def min_p(row: Weighed, n: int, q: float) -> int:
    """R4.3: those of the first n candidates with m * 2^n >= q * m_1 * 2^(n_1)."""
    num, den = q.as_integer_ratio()
    first = row.weights[row.order[0]]

    def keeps(w: Weight) -> bool:
        # q > 2^-150 and m / m_1 < 2, so no weight 2^152 times smaller can be kept.
        return first.n - w.n < 152 and w.m * den >= (num * first.m) << (first.n - w.n)

    return sum(keeps(row.weights[i]) for i in row.order[:n])


def with_ties(order: list[int], keys: list[int], n: int, ties: str) -> int:
    """R4.4: n, and with "keep" also the candidates whose key is that of the last kept."""
    if ties == "keep":
        while n < len(order) and keys[order[n]] == keys[order[n - 1]]:
            n += 1
    return n


def num_left(row: Weighed, keys: list[int], top_k: int, p: float, q: float, ties: str) -> int:
    """R4: how many candidates, counted from the first, the filters leave."""
    n = len(row.order)
    if top_k > 0:
        n = with_ties(row.order, keys, min(n, top_k), ties)
    if p != 1:
        n = with_ties(row.order, keys, top_p(row, n, p), ties)
    return min_p(row, n, q) if q != 0 else n
