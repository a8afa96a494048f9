"""Train ESCNet: `python training/train_escnet.py --help`; the same as `iec-hub train escnet`."""

from iec_hub.finetuning.escnet_command import main

if __name__ == "__main__":
    main()
