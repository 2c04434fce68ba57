"""The figures as a table for people."""

from rows import BF16, F32, OURS, STABLE_DIFFUSION_CPP

COLUMNS = (OURS, BF16, F32, STABLE_DIFFUSION_CPP)


def table(report):
    peers = [name for name in COLUMNS[1:] if any(name in row["figures"] for row in report["rows"])]
    head = ["", "ours ms", *(f"{name} ms" for name in peers), *(f"ours / {name}" for name in peers), "goal", ""]
    lines = [cells(head), cells(["---"] + ["---:"] * (1 + 2 * len(peers)) + ["---", "---"])]
    for row in report["rows"]:
        lines.append(cells([row["title"], *figures(row, peers), "; ".join(goal["text"] for goal in row["goals"]), verdict(row)]))
    return "\n".join([headline(report), "", *lines, "", *notes(report)])


def cells(values):
    return "| " + " | ".join(values) + " |"


def headline(report):
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    return (
        f"{report['date']}, {report['processor']}, {report['isa']}, {threads}, {report['clock']} time, medians of "
        f"up to {report['rounds']} alternating runs{' of small cases (--quick)' if report['quick'] else ''}. {versions}."
    )


def figures(row, peers):
    ours = row["figures"].get(OURS)
    times = [milliseconds(row["figures"].get(name)) for name in (OURS, *peers)]
    ratios = [ratio(ours, row["figures"].get(name)) for name in peers]
    return [*times, *(f"{value:.2f}" if value else "–" for value in ratios)]


def milliseconds(entry):
    if entry is None:
        return "–"
    return f"{entry['ms_median']:,.1f}" if entry["ms_median"] < 100 else f"{entry['ms_median']:,.0f}"


def ratio(ours, peer):
    return ours["ms_median"] / peer["ms_median"] if ours and peer else None


def verdict(row):
    """What was reached, goal by goal."""
    return "; ".join(filter(None, (reached(row, goal) for goal in row["goals"]))) or "–"


def reached(row, goal):
    ours = row["figures"].get(OURS)
    if not ours:
        return "not measured"
    if goal["rate"]:
        rate = row["flops"] / ours["ms_median"] / 1e6
        return f"{rate:,.0f}: {'met' if rate >= goal['rate'] else 'not met'}"
    if goal["faster"]:
        two = row["figures"].get("ours, 2 threads")
        if not two:
            return "not measured"
        faster = ours["ms_median"] / two["ms_median"]
        met = "met" if faster >= goal["faster"] else "not met"
        both = two["processor_ms_median"] / ours["processor_ms_median"]
        return f"{milliseconds(two)} ms with 2, {faster:.2f} ×: {met}; {both:.2f} × the processor time"
    if goal["against"]:
        value = ratio(ours, row["figures"].get(goal["against"]))
        if value is None:
            return f"{goal['against']} not measured"
        return f"{value:.3f}: {'met' if value <= goal['ratio'] else 'not met'}"
    return ""


def notes(report):
    for row in report["rows"]:
        if row["stages_ms"]:
            total = sum(row["stages_ms"].values())
            shares = (f"{name} {ms:.1f} ms ({100 * ms / total:.0f} %)" for name, ms in row["stages_ms"].items())
            yield f"{row['title']}: {', '.join(shares)}."
        for problem in row["problems"]:
            yield f"{row['title']}: {problem}."
