"""The same with 2 ms."""

from offhook_tick_1ms import main

if __name__ == "__main__":
    main(tick_s=0.002)
