"""What pyproject.toml cannot say: the configs, which stand beside the package, are installed as a part of it."""

from setuptools import find_namespace_packages, find_packages, setup

configs = [f"isnas.{name}" for name in find_namespace_packages(include=["configs*"])]
setup(packages=[*find_packages(include=["isnas*"]), *configs], package_dir={"isnas.configs": "configs"})
