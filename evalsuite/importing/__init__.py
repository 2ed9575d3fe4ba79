"""Published judgments and results of others become a run like any other.

`import_run` is the entry: one module a format reads it into our records, and the folder is written
as a run's is. Knows formats and a run's files; must not know engines, and asks no judge.
"""

from evalsuite.importing.folder import Imported, import_run
from evalsuite.importing.formats import FORMATS

__all__ = ["FORMATS", "Imported", "import_run"]
