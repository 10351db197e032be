"""What readers of the log keep."""

from django.db import models


class TopUpHour(models.Model):
    """Top-ups of an hour (UTC), by channel and payer: how many, and their sum in minor units."""

    book = models.PositiveIntegerField()
    hour = models.DateTimeField()
    channel = models.CharField(max_length=10)
    payer = models.BigIntegerField()
    top_ups = models.PositiveIntegerField()
    amount_minor = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint("hour", "book", "channel", "payer", name="one_row_per_hour")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00, {self.channel}"
