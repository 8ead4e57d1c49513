"""Reports laid out as tables for people: text, Markdown or LaTeX; one row a system."""

import math
from collections.abc import Callable, Sequence

from sv_cli.logs import format_table, printable
from sv_cli.metrics.report import Report

Row = list[str]
Layout = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def result_table(reports: Sequence[Report]) -> tuple[Row, list[Row]]:
    """Return header and rows: EER in percent, Cllr in bits, intervals in brackets."""
    first = reports[0]
    by_condition = any(one.condition is not None for one in reports)
    header = ["system", *(["condition"] if by_condition else []), "target", "nontarget", "EER %"]
    header += ["Kaldi EER %"] if first.kaldi_eer is not None else []
    header += [f"minDCF {cost.point.name}" for cost in first.costs]
    header += ["minDCF mean"] if first.primary_min_dcf is not None else []
    header += [f"actDCF {cost.point.name}" for cost in first.costs]
    header += ["actDCF mean"] if first.primary_act_dcf is not None else []
    return [*header, "Cllr", "minCllr"], [_row(one, by_condition) for one in reports]


def _row(one: Report, by_condition: bool) -> Row:
    row = [printable(one.name)]
    if by_condition:
        row.append(printable(one.condition or "all") + (" *" if one.completed else ""))
    row += [str(one.num_target), str(one.num_nontarget)]
    row.append(_percent(one.eer) + _interval(one, "eer", _percent))
    row += [_percent(one.kaldi_eer)] if one.kaldi_eer is not None else []
    for cost in one.costs:
        row.append(_cost(cost.min_dcf) + _interval(one, f"min_dcf {cost.point.name}", _cost))
    row += [_cost(one.primary_min_dcf)] if one.primary_min_dcf is not None else []
    for cost in one.costs:
        row.append(_cost(cost.act_dcf) + _interval(one, f"act_dcf {cost.point.name}", _cost))
    row += [_cost(one.primary_act_dcf)] if one.primary_act_dcf is not None else []
    return [*row, _cost(one.cllr) + _interval(one, "cllr", _cost), _cost(one.min_cllr)]


def threshold_table(reports: Sequence[Report]) -> tuple[Row, list[Row]]:
    """Return header and rows of the thresholds and the error rates that they have."""
    header = ["system", "threshold at", "threshold", "P_miss %", "P_fa %"]
    rows = [
        [name, each.at, _score(each.threshold), _percent(each.p_miss), _percent(each.p_fa)]
        for name, one in ((printable(one.name), one) for one in reports)
        if one.condition is None
        for each in one.thresholds
    ]
    return header, rows


def text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned plain table."""
    return format_table(header, rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in [header, rule, *rows]]
    return "".join("| " + " | ".join(line) + " |\n" for line in escaped)


def latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a `tabular` with booktabs rules."""
    lines = [" & ".join(_escape_latex(cell) for cell in line) + r" \\" for line in [header, *rows]]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        lines[0],
        r"\midrule",
        *lines[1:],
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


LAYOUTS: dict[str, Layout] = {"text": text, "markdown": markdown, "latex": latex}


_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%_#$"}
    | {"{": r"\{", "}": r"\}", "\\": r"\textbackslash{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def _escape_latex(cell: str) -> str:
    return cell.translate(_LATEX)


def _percent(value: float) -> str:
    return f"{100 * value:.3f}"


def _cost(value: float) -> str:
    return f"{value:.4f}"


def _score(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ("reject all" if value > 0 else "accept all")


def _interval(one: Report, name: str, form: Callable[[float], str]) -> str:
    if name not in one.intervals:
        return ""
    low, high = one.intervals[name]
    return f" [{form(low)}, {form(high)}]"
