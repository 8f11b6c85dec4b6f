import textwrap

import pytest


@pytest.fixture
def fake_setuptools(tmp_path):
    """Writes a ``pkg_resources`` as a version of setuptools has it."""
    def write(version, warning):
        (tmp_path / 'pkg_resources').mkdir()
        (tmp_path / 'pkg_resources' / '__init__.py').write_text(
            textwrap.dedent(f'''
            import warnings
            if {warning}:
                warnings.warn(
                    'pkg_resources is deprecated as an API', UserWarning)
            class WorkingSet:
                def require(self, *requirements):
                    pass
            class ResolutionError(Exception):
                pass
            DistributionNotFound = VersionConflict = ResolutionError
            def require(requirement):
                raise DistributionNotFound
            '''))
        info = tmp_path / f'setuptools-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: setuptools\nVersion: {version}\n')
        return tmp_path

    return write
