package l2

func flood() {}
