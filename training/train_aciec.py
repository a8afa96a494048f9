"""Train ACIEC: `python training/train_aciec.py --help`; the same as `iec-hub train aciec`."""

from iec_hub.finetuning.aciec_command import main

if __name__ == "__main__":
    main()
