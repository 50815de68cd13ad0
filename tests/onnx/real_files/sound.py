"""Sounds, made of harmonics: notes of a plucked string, and vowels of a voice."""

import numpy as np

# Vowels of a man's voice: frequency in Hz and strength of the first formants (Peterson and Barney, 1952).
VOWELS = {"a": ((730, 1.0), (1090, 0.5), (2440, 0.1)), "i": ((270, 1.0), (2290, 0.3), (3010, 0.1)),
          "u": ((300, 1.0), (870, 0.3), (2240, 0.05))}


def frequency(note: int) -> float:
    """Hz of a MIDI note, equal temperament, A4 (69) at 440."""
    return 440.0 * 2.0 ** ((note - 69) / 12)


def pluck(note: int, samples: int, rate: int) -> np.ndarray:
    """A note with twelve harmonics, the higher the weaker and the sooner gone."""
    time = np.arange(samples) / rate
    made = np.zeros_like(time)
    for harmonic in range(1, 13):
        tone = frequency(note) * harmonic
        if tone < rate / 2:
            made += np.sin(2 * np.pi * tone * time) / harmonic * np.exp(-time * (1.0 + 0.6 * harmonic))
    return made * np.minimum(time / 0.005, 1.0)


def played(notes: list, samples: int, rate: int) -> np.ndarray:
    """Notes as (MIDI number, start in seconds), each until it has died away; in -1..1, FP32."""
    made = np.zeros(samples)
    for note, start in notes:
        begin = int(start * rate)
        made[begin:] += pluck(note, samples - begin, rate)
    return (0.5 * made / np.abs(made).max()).astype(np.float32)


def voice(vowels: str, samples: int, rate: int, pitch: float = 118.0) -> np.ndarray:
    """Vowels one after the other, the pitch falling by a fifth; in -1..1, FP32."""
    time = np.arange(samples) / rate
    glide = pitch * (1.0 - time / time[-1] / 3)
    phase = 2 * np.pi * np.cumsum(glide) / rate
    part = np.minimum((np.arange(samples) * len(vowels) // samples), len(vowels) - 1)
    made = np.zeros(samples)
    for harmonic in range(1, int(3800 / pitch)):
        weight = np.zeros(samples)
        for number, vowel in enumerate(vowels):
            at = part == number
            for formant, strength in VOWELS[vowel]:
                weight[at] += strength * np.exp(-(((harmonic * glide[at] - formant) / 120.0) ** 2))
        made += np.sin(harmonic * phase) * (weight + 0.01)
    return (0.5 * made / np.abs(made).max()).astype(np.float32)
