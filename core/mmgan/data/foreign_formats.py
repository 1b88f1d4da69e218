"""Formats of pictures that are not read, and how to convert them."""

from __future__ import annotations

from collections.abc import Iterable

#: Of files that are a picture each.
_PICTURES = {
    "HEIC needs `pip install pillow-heif`": (".heic", ".heif", ".hif", ".heics", ".heifs"),
    "convert JPEG XL with djxl": (".jxl",),
    "export drawings as .png": (".svg", ".svgz", ".eps", ".ai", ".emf", ".wmf", ".cdr"),
    "develop raw photos, to .jpg or 16-bit .png": (
        *(".cr2", ".cr3", ".crw", ".nef", ".nrw", ".dng", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf"),
        *(".pef", ".srw", ".x3f", ".3fr", ".iiq", ".kdc", ".erf", ".mrw", ".raw"),
    ),
    "export DICOM as 16-bit .png, with dcm2img or pydicom": (".dcm", ".dicom", ".dic"),
    "save arrays as .png or .tif, with Pillow's Image.fromarray": (".npy",),
    "export them as .png or .jpg": (
        *(".psb", ".xcf", ".kra", ".clip", ".exr", ".hdr", ".jxr", ".wdp", ".jls", ".bpg", ".mha", ".nrrd"),
    ),
}
#: Of files that may hold any number of pictures, or none.
_CONTAINERS = {
    "save arrays as .png or .tif, with Pillow's Image.fromarray": (
        *(".npz", ".mat", ".h5", ".hdf5", ".hdf", ".tfrecord", ".parquet", ".lmdb", ".nii"),
    ),
    "take frames out of videos with `ffmpeg -i FILE frame-%05d.png`": (
        *(".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".3gp"),
    ),
    "unpack archives first": (
        *(".zip", ".tar", ".7z", ".rar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".cbz", ".cbr"),
    ),
}


def _by_suffix(table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {suffix: advice for advice, suffixes in table.items() for suffix in suffixes}


#: Suffixes of single pictures, in small letters, and of all that is not read: what to do about them.
FOREIGN_PICTURES = _by_suffix(_PICTURES)
FOREIGN = FOREIGN_PICTURES | _by_suffix(_CONTAINERS)
#: How a HEIC begins, from its fifth byte.
HEIC = (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1")


def advise(suffixes: Iterable[str]) -> str:
    """Say what to do with files that are not read, one step for each kind; nothing where there are none."""
    return "; ".join(dict.fromkeys(FOREIGN[suffix] for suffix in suffixes if suffix in FOREIGN))
