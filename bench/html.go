package main

import "errors"

func (found *report) html() ([]byte, error) {
	return nil, errors.New("the HTML report is still to be written; -json has everything")
}
