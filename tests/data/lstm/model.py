"""Two LSTM layers over a spectrogram, read column by column, and a linear layer on the last state."""

from torch import Tensor, nn


class Recurrent(nn.Module):
    """Spectrograms [N, 64, 64] to scores [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(64, 64, 2, batch_first=True)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.lstm(x)[0][:, -1])
        return scores


def build() -> nn.Module:
    return Recurrent()
