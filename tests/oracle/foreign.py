"""Another program at a Delta table of the program's: deltalake, as its users call it.

    foreign.py PLACE append ID..      adds a row for each id, in the columns that the table has
    foreign.py PLACE optimize         makes one file of small ones
    foreign.py PLACE checkpoint       writes a checkpoint of the log as it stands
    foreign.py PLACE vacuum           deletes at once what does not count
    foreign.py PLACE restore VERSION  brings an older version back
    foreign.py PLACE set NAME VALUE   gives the table a property
    foreign.py PLACE rows VERSION     reads a version

PLACE is JSON as in compare.py's "table". Prints {"version": .., "rows": ..} of what stands then, or of the version asked for.
"""

import json
import os
import sys

import pyarrow as pa
from compare import delta_table
from deltalake import write_deltalake


def append(table, ids):
    schema = pa.schema(table.schema().to_arrow())
    rows = [{"id": int(value)} for value in ids]
    write_deltalake(table, pa.Table.from_pylist(rows, schema=schema), mode="append")


def main():
    place, verb, *rest = json.loads(sys.argv[1]), *sys.argv[2:]
    table = delta_table(place)
    if verb == "append":
        append(table, rest)
    elif verb == "optimize":
        table.optimize.compact()
    elif verb == "checkpoint":
        table.create_checkpoint()
    elif verb == "vacuum":
        table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    elif verb == "restore":
        table.restore(int(rest[0]))
    elif verb == "set":
        table.alter.set_table_properties({rest[0]: rest[1]}, raise_if_not_exists=False)
    elif verb != "rows":
        sys.exit(f"{verb} is not known here")
    table = delta_table(place)
    if verb == "rows":
        table.load_as_version(int(rest[0]))
    print(json.dumps({"version": table.version(), "rows": table.to_pyarrow_table().num_rows}))


main()
sys.stdout.flush()
# deltalake leaves threads behind that abort the interpreter at its end.
os._exit(0)
