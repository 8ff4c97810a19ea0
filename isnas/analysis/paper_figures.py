"""What stands in tables of ISTA-NAS (NeurIPS 2020) and CoNAS (ICLR 2020 submission): the papers' figures, not ours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """A line of a table: its name there, the figures as printed, and which runs of this project belong beside it.

    ``label``: the method, as :func:`isnas.analysis.search_runs.paper_name` has it, or a published cell's; empty where
    nothing here can be. ``transferred``: whether the cell was searched on other images than it was trained on; None
    where that is not said.
    """

    name: str
    figures: tuple[str, ...]
    label: str = ""
    transferred: bool | None = None


#: Published cells of :mod:`isnas.space.cells.published`, by the method that found them and the images it searched on.
CELLS = {
    "ISTA_twostage": ("Two-stage ISTA-NAS", "cifar10"),
    "ISTA_onestage": ("One-stage ISTA-NAS", "cifar10"),
    "ISTA_ImageNet": ("One-stage ISTA-NAS", "imagenet"),
    "DARTS_V1": ("DARTS (1st order)", "cifar10"),
    "DARTS_V2": ("DARTS (2nd order)", "cifar10"),
    "PC_DARTS_cifar": ("PC-DARTS", "cifar10"),
    "PC_DARTS_image": ("PC-DARTS", "imagenet"),
    "NASNet": ("NASNet-A", "cifar10"),
    "AmoebaNet": ("AmoebaNet-A", "cifar10"),
    "CoNAS_release": ("CoNAS, later version", "cifar10"),
}

#: Table 1: method, batch size, memory in GB and search cost in days on a GTX 1080Ti.
TABLE1 = (
    ("DARTS (1st order)", "darts", 64, 9.1, 0.70),
    ("PC-DARTS", "pc_darts", 256, 11.6, 0.14),
    ("ISTA-NAS", "two_stage", 64, 1.9, 0.15),
    ("ISTA-NAS", "two_stage", 256, 5.5, 0.05),
    ("ISTA-NAS", "two_stage", 512, 10.5, 0.03),
)

TABLE3_HEADER = ("test error (%)", "params (M)", "search (GPU-days)", "eval. (GPU-days)", "search method")
TABLE3 = (
    PaperRow("DenseNet-BC", ("3.46", "25.6", "-", "-", "manual")),
    PaperRow("NASNet-A + cutout", ("2.65", "3.3", "1800", "3.2", "RL"), "NASNet-A"),
    PaperRow("ENAS + cutout", ("2.89", "4.6", "0.5", "3.2", "RL")),
    PaperRow("AmoebaNet-B + cutout", ("2.55 ± 0.05", "2.8", "3150", "-", "evolution")),
    PaperRow("NAONet-WS", ("3.53", "3.1", "0.4", "-", "NAO")),
    PaperRow("DARTS (2nd order) + cutout", ("2.76 ± 0.09", "3.3", "4.0", "2.3", "gradient"), "DARTS (2nd order)"),
    PaperRow("SNAS (moderate) + cutout", ("2.85 ± 0.02", "2.8", "1.5", "2.2", "gradient")),
    PaperRow("P-DARTS + cutout", ("2.50", "3.4", "0.3", "2.9", "gradient")),
    PaperRow("NASP + cutout", ("2.83 ± 0.09", "3.3", "0.1", "-", "gradient")),
    PaperRow("PC-DARTS + cutout", ("2.57 ± 0.07", "3.6", "0.1", "3.1", "gradient"), "PC-DARTS"),
    PaperRow("Two-stage ISTA-NAS + cutout", ("2.54 ± 0.05", "3.32", "0.05", "2.0", "gradient"), "Two-stage ISTA-NAS"),
    PaperRow(
        "One-stage ISTA-NAS + cutout", ("2.36 ± 0.06", "3.37", "2.3 in all", "", "gradient"), "One-stage ISTA-NAS"
    ),
)

TABLE4_HEADER = ("top-1 (%)", "top-5 (%)", "params (M)", "FLOPs (M)", *TABLE3_HEADER[2:])
TABLE4 = (
    PaperRow("Inception-v1", ("30.2", "10.1", "6.6", "1448", "-", "-", "manual")),
    PaperRow("MobileNet", ("29.4", "10.5", "4.2", "569", "-", "-", "manual")),
    PaperRow("ShuffleNet 2x (v2)", ("25.1", "-", "~5", "591", "-", "-", "manual")),
    PaperRow("NASNet-A", ("26.0", "8.4", "5.3", "564", "1800", "-", "RL"), "NASNet-A", True),
    PaperRow("MnasNet-92", ("25.2", "8.0", "4.4", "388", "-", "-", "RL")),
    PaperRow("AmoebaNet-C", ("24.3", "7.6", "6.4", "570", "3150", "-", "evolution")),
    PaperRow("DARTS (2nd order)", ("26.7", "8.7", "4.7", "574", "4.0", "3.6x8", "gradient"), "DARTS (2nd order)", True),
    PaperRow("SNAS", ("27.3", "9.2", "4.3", "522", "1.5", "3.3x8", "gradient")),
    PaperRow("P-DARTS", ("24.4", "7.4", "4.9", "557", "0.3", "3.6x8", "gradient")),
    PaperRow("ProxylessNAS (ImgNet)", ("24.9", "7.5", "7.1", "465", "8.3", "-", "gradient")),
    PaperRow("PC-DARTS (ImgNet)", ("24.2", "7.3", "5.3", "597", "3.8", "3.9x8", "gradient"), "PC-DARTS", False),
    PaperRow(
        "One-stage ISTA-NAS (C-10)",
        ("25.1", "7.7", "4.78", "550", "2.3", "3.4x8", "gradient"),
        "One-stage ISTA-NAS",
        True,
    ),
    PaperRow(
        "One-stage ISTA-NAS (ImgNet)",
        ("24.0", "7.1", "5.65", "638", "4.2x8 in all", "", "gradient"),
        "One-stage ISTA-NAS",
        False,
    ),
)

#: Lines of CoNAS's Table 1 that differ from another line of the same method by the operations, and by the training.
FIVE_OPERATIONS = "DARTS, five operations"
WIDE = "CoNAS (t = 1, C = 60) + AutoAugment, 1,000 epochs"

CONAS_TABLE1_HEADER = ("best error (%)", "test error (%)", "params (M)", "multiply-adds (M)", "search (GPU-days)")
CONAS_TABLE1 = (
    PaperRow("PyramidNet", ("", "2.31", "26", "-", "-")),
    PaperRow("AutoAugment", ("", "1.48", "26", "-", "-")),
    PaperRow("ProxylessNAS", ("", "2.08", "5.7", "-", "4")),
    PaperRow("NASNet-A", ("", "2.65", "3.3", "-", "2000"), "NASNet-A"),
    PaperRow("AmoebaNet-B", ("", "2.55 ± 0.05", "2.8", "-", "3150")),
    PaperRow("GHN+", ("", "2.84 ± 0.07", "5.7", "-", "0.84")),
    PaperRow("SNAS", ("", "2.85 ± 0.02", "2.8", "-", "1.5")),
    PaperRow("ENAS", ("", "2.89", "4.6", "-", "0.45")),
    PaperRow("DARTS", ("", "2.76 ± 0.09", "3.3", "548", "4"), "DARTS (2nd order)"),
    PaperRow("Random search (of DARTS)", ("", "3.29 ± 0.15", "3.1", "-", "4"), "Random search"),
    PaperRow("ASHA", ("2.85", "3.03 ± 0.13", "2.2", "-", "-")),
    PaperRow(
        "Random search with weight sharing",
        ("2.71", "2.85 ± 0.08", "3.7", "634", "2.7"),
        "Random search with weight sharing",
    ),
    PaperRow("DARTS, by Li and Talwalkar", ("2.62", "2.78 ± 0.12", "3.3", "-", "4")),
    PaperRow(FIVE_OPERATIONS, ("2.59", "2.78 ± 0.13", "3.4", "576", "4"), "DARTS (2nd order)"),
    PaperRow("CoNAS (t = 1)", ("2.57", "2.74 ± 0.12", "2.3", "386", "0.4"), "CoNAS (t = 1)"),
    PaperRow("CoNAS (t = 4)", ("2.55", "2.62 ± 0.06", "4.8", "825", "0.5"), "CoNAS (t = 4)"),
    PaperRow(WIDE, ("", "1.87", "6.1", "1019", "0.4"), "CoNAS (t = 1)"),
)

CONAS_TABLE2_HEADER = ("CIFAR-100 (%)", "SVHN (%)", "Fashion-MNIST (%)", "params (M)", "search (GPU-days)")
CONAS_TABLE2 = (
    PaperRow("SNAS", ("16.5", "1.98", "3.73", "2.8", "1.5")),
    PaperRow("PNAS", ("15.9", "1.83", "3.72", "3.2", "150")),
    PaperRow("NASNet", ("15.8", "1.96", "3.71", "3.3", "1800"), "NASNet-A", True),
    PaperRow("DARTS", ("15.8", "1.85", "3.68", "3.4", "1"), "DARTS (2nd order)", True),
    PaperRow("AmoebaNet-A", ("15.9", "1.93", "3.8", "3.2", "3150"), "AmoebaNet-A", True),
    PaperRow("ASAP", ("15.6", "1.81", "3.73", "2.5", "0.2")),
    PaperRow("CoNAS (t = 1)", ("15.9", "1.44", "4.11", "2.3", "0.4"), "CoNAS (t = 1)", True),
)

#: Table 4 of CoNAS (appendix A.6): by lambda the Hamming distance to the result at lambda = 1, the test error after 150
#: epochs, millions of parameters and of multiply-adds.
CONAS_TABLE4 = {
    "0.5": ("0", "3.74 ± 0.07", "2.3", "386"),
    "2": ("0", "3.74 ± 0.07", "2.3", "386"),
    "5": ("8", "3.51 ± 0.06", "2.6", "455"),
    "10": ("12", "3.62 ± 0.04", "2.6", "449"),
    "random": ("29 (in the text 27.58 ± 1.82)", "4.43 ± 0.08", "2.7", "444"),
}

CONAS_TABLE5_HEADER = ("edges", "params (M)", "test error (%)")
CONAS_TABLE5 = (
    PaperRow("Randomly wired (1)", ("31", "5.2", "3.45")),
    PaperRow("Randomly wired (2)", ("35", "4.5", "2.89")),
    PaperRow("Randomly wired (3)", ("32", "3.1", "3.52")),
    PaperRow("CoNAS (t = 4), of Table 1", ("-", "4.8", "2.62 ± 0.06")),
)
