"""Train UGRIE: `python training/train_ugrie.py --help`; the same as `iec-hub train ugrie`."""

from iec_hub.finetuning.ugrie_command import main

if __name__ == "__main__":
    main()
