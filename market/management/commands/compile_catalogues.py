"""`manage.py compile_catalogues`: message catalogues without GNU gettext."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Compile every .po under LOCALE_PATHS to .mo; files that are up to date stay."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="fail if a message has no translation")

    def handle(self, *args: Any, **options: Any) -> None:
        missing = []
        for folder in settings.LOCALE_PATHS:
            for source in sorted(Path(folder).glob("*/LC_MESSAGES/*.po")):
                missing += self._compile(source)
        if options["check"] and missing:
            raise CommandError("without translation: " + "; ".join(missing[:20]))

    def _compile(self, source: Path) -> list[str]:
        # Babel spells locales zh_Hans; the folder name is what Django looks for.
        try:
            with source.open("rb") as file:
                catalogue = read_po(file, locale=source.parent.parent.name, abort_invalid=True)
        except (PoFileError, ValueError) as error:
            raise CommandError(f"{source}: {error}") from error
        target = source.with_suffix(".mo")
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            temporary = target.with_suffix(".mo.new")
            with temporary.open("wb") as file:
                write_mo(file, catalogue)
            temporary.replace(target)  # readers see the old file or the new one
            self.stdout.write(f"{source.parent.parent.name}: {len(catalogue)} messages")
        return [
            f"{source.parent.parent.name}: {message.id}"
            for message in catalogue
            if message.id and not message.string
        ]
