"""The portal: a catalogue, a mailbox and a window. It proposes; nodes dispose; the chain remembers."""
