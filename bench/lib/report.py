"""Figures as lines and as a table with ratios."""
from statistics import median

# Above this, something else on the machine took part in a run.
NOISE_CORES = 0.3


def line(row):
    head = f"{row['server']:9}{row['workload']:14}{row['clients']:3} clients, gateway {row['gateway']:4}"
    if "failed" in row:
        return f"{head} FAILED: {row['failed']}"
    noise = f", others used {row['other_cores']:.2f} cores" if row["other_cores"] > NOISE_CORES else ""
    lost = f", {row['failed_transactions']} failed" if row["failed_transactions"] else ""
    return (f"{head} {row['tps']:9.0f} tps  p50 {row['p50_ms']:.2f} ms  p99 {row['p99_ms']:.2f} ms  "
            f"CPU {row['server_cpu_per_1000']:.3f} s/1000  {row['retried_transactions']} retried{lost}{noise}")


def medians(rows):
    """The median of every figure over the good runs, quiet ones where there are some; None without any."""
    good = [row for row in rows if "failed" not in row]
    good = [row for row in good if row["other_cores"] <= NOISE_CORES] or good
    if not good:
        return None
    figure = lambda name: median(row[name] for row in good if row[name] is not None)
    names = ("tps", "p50_ms", "p99_ms", "server_cpu_per_1000")
    return dict({name: figure(name) for name in names}, runs=len(good),
                lost=sum(row["failed_transactions"] for row in good))


def table(rows, workloads):
    """A markdown table: one row for each case of Quorate, with PostgreSQL's figures of the same workload and clients beside it."""
    heads = ["workload", "clients", "gateway", "tps", "PostgreSQL", "ratio", "p50 ms", "PostgreSQL", "p99 ms", "PostgreSQL",
             "CPU s/1000", "PostgreSQL", "ratio", "failed", "runs"]
    lines = []
    for workload, clients in dict.fromkeys((row["workload"], row["clients"]) for row in rows):
        pick = lambda server, gateway: medians([row for row in rows if (row["server"], row["workload"], row["clients"], row["gateway"])
                                                == (server, workload, clients, gateway)])
        theirs = pick("postgres", "one")
        gateways = list(dict.fromkeys(row["gateway"] for row in rows if row["server"] == "quorate")) or ["one"]
        for gateway in gateways:
            ours = pick("quorate", gateway)
            lines.append([workloads[workload], str(clients), gateway, *compare(ours, theirs)])
    widths = [max(len(cells[column]) for cells in [heads, *lines]) for column in range(len(heads))]
    shape = lambda cells: "| " + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths)) + " |"
    return "\n".join([shape(heads), "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *map(shape, lines)])


def compare(ours, theirs):
    def value(of, name, form):
        return format(of[name], form) if of else "-"

    def ratio(name):
        return f"{ours[name] / theirs[name]:.2f}" if ours and theirs and theirs[name] else "-"

    cells = [value(ours, "tps", ".0f"), value(theirs, "tps", ".0f"), ratio("tps")]
    for name in ("p50_ms", "p99_ms"):
        cells += [value(ours, name, ".2f"), value(theirs, name, ".2f")]
    cells += [value(ours, "server_cpu_per_1000", ".3f"), value(theirs, "server_cpu_per_1000", ".3f"), ratio("server_cpu_per_1000")]
    return cells + [str(ours["lost"]) if ours else "-", f"{ours['runs'] if ours else 0}/{theirs['runs'] if theirs else 0}"]
