"""What every trading part agrees on: instruments, money, sessions."""
