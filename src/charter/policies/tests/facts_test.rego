# Amounts as people read them.
package charter.facts_test

import rego.v1

import data.charter.facts

test_sizes_are_whole_gibibytes_where_they_are_whole if {
	facts.size(8192) == "8 GiB"
	facts.size(1500) == "1500 MiB"
}

test_every_dimension_has_its_noun if {
	facts.amount("vcpu", 40) == "40 vCPU"
	facts.amount("memory_mib", 8192) == "8 GiB of memory"
	facts.amount("disk_mib", 51200) == "50 GiB of disk"
	facts.amount("gpu", 1) == "1 GPU"
	facts.amount("workspaces", 9) == "9 workspaces"
}
