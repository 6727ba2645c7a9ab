// Command java prints the directory with Kafka's jars, which Maven fetches the first time:
//
//	java -cp "$(go run ./internal/clients/java)/*" kafka.Kafka server.properties
package main

import (
	"fmt"
	"os"

	"slipstream/internal/clients/harness"
)

func main() {
	dir, err := harness.Jars()
	if err != nil {
		fmt.Fprintln(os.Stderr, "java:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
