package lab

const clientEnv = "HERALD_LAB_TEST_CLIENT"

func clientMain() int { return 0 }
