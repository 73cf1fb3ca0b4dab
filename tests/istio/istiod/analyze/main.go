// Command analyze prints what istioctl analyze says of files about references between Istio objects.
//
//	analyze PATH...
//
// A PATH is a file, which is analyzed alone. One line of JSON is printed for each message.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"istio.io/istio/pkg/config/analysis"
	"istio.io/istio/pkg/config/analysis/analyzers/destinationrule"
	"istio.io/istio/pkg/config/analysis/analyzers/virtualservice"
	"istio.io/istio/pkg/config/analysis/diag"
	"istio.io/istio/pkg/config/analysis/local"
	"istio.io/istio/pkg/log"
)

// finding is a line of the output.
type finding struct {
	File    string `json:"file"`
	Code    string `json:"code"`
	What    string `json:"what,omitempty"`
	Object  string `json:"object"`
	Message string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "analyze:", err)
		os.Exit(1)
	}
}

func run() error {
	flag.Parse()
	if flag.NArg() == 0 {
		return errors.New("usage: analyze PATH...")
	}
	options := log.DefaultOptions()
	options.OutputPaths = []string{"stderr"}
	options.SetDefaultOutputLevel(log.OverrideScopeName, log.NoneLevel)
	if err := log.Configure(options); err != nil {
		return err
	}
	lines := json.NewEncoder(os.Stdout)
	for _, file := range flag.Args() {
		messages, err := analyze(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, message := range messages {
			if err := lines.Encode(describe(file, message)); err != nil {
				return err
			}
		}
	}
	return nil
}

// analyze does what istioctl analyze does for a file without a cluster.
func analyze(file string) (diag.Messages, error) {
	analyzers := analysis.Combine("references",
		&destinationrule.PodNotSelectedAnalyzer{},
		&virtualservice.ConflictingMeshGatewayHostsAnalyzer{},
		&virtualservice.DestinationHostAnalyzer{},
		&virtualservice.DestinationRuleAnalyzer{},
		&virtualservice.GatewayAnalyzer{},
	)
	analyzer := local.NewSourceAnalyzer(analyzers, "", "istio-system", nil)
	opened, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	// istioctl also reports what it could read of a file in which some objects are wrong.
	_ = analyzer.AddTestReaderKubeSource([]local.ReaderSource{{Name: file, Reader: opened}})
	stop := make(chan struct{})
	defer close(stop)
	result, err := analyzer.Analyze(stop)
	return result.Messages, err
}

func describe(file string, message diag.Message) finding {
	found := finding{File: file, Code: message.Type.Code()}
	found.Message = fmt.Sprintf(message.Type.Template(), message.Parameters...)
	// The first parameter of ReferencedResourceNotFound says what is not found.
	if what, ok := message.Parameters[0].(string); ok {
		found.What = what
	}
	if message.Resource != nil {
		found.Object = message.Resource.Origin.FriendlyName()
	}
	return found
}
